"""Tests of the shape of the code: who imports whom, which rooms are pure, and names."""
