"""State that workers share besides mail: policies, memory, trust points, rates, reports and statistics.

`shared_state` opens it.
"""
