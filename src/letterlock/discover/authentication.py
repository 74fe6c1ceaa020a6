"""Runs the checks of `mailauth`: asks the resolver what a check wants to know, all of one step at once."""

import asyncio
from typing import TypeVar

from letterlock.mailauth.asking import Steps
from letterlock.ports import Resolver
from letterlock.resolver.answer import Answer, FailureKind, LookupFailure, Question

_T = TypeVar("_T")


async def answered(steps: Steps[_T], resolver: Resolver) -> _T:
    """Drive a check to its verdict. DNS failures become part of the verdict; nothing is raised for them."""
    try:
        wanted = next(steps)
        while True:
            answers = await asyncio.gather(*(_answer(each, resolver) for each in wanted))
            wanted = steps.send(dict(zip(wanted, answers, strict=True)))
    except StopIteration as end:
        verdict: _T = end.value
        return verdict


async def _answer(question: Question, resolver: Resolver) -> Answer | LookupFailure:
    try:
        return await resolver.resolve(str(question.name), question.rdtype)
    except ValueError as error:  # a name that the resolver does not take, such as one that macros made
        return LookupFailure(question=question, kind=FailureKind.MALFORMED, detail=str(error))
