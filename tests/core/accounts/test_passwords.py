import asyncio

import argon2
import pytest

from core.accounts import passwords


@pytest.mark.gen_test
async def test_a_hash_is_its_passwords_and_no_others():
    made = await passwords.make_hash("correct-horse-7")
    assert made.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.is_right("correct-horse-7", made) is True
    assert await passwords.is_right("correct-horse-8", made) is False
    assert made != await passwords.make_hash("correct-horse-7")


@pytest.mark.gen_test
async def test_without_an_account_no_password_is_right():
    assert await passwords.is_right("", None) is False


@pytest.mark.gen_test
async def test_a_damaged_hash_is_a_fault_of_ours_and_not_a_wrong_password():
    with pytest.raises(argon2.exceptions.VerificationError):
        await passwords.is_right("correct-horse-7", "$argon2id$broken")


@pytest.mark.gen_test
async def test_an_unknown_account_costs_the_same_work(monkeypatch):
    verified = []
    verify = argon2.PasswordHasher.verify
    monkeypatch.setattr(
        argon2.PasswordHasher, "verify", lambda self, kept, said: verified.append(kept) or verify(self, kept, said)
    )
    made = await passwords.make_hash("correct-horse-7")
    await passwords.is_right("wrong", made)
    await passwords.is_right("wrong", None)
    cost = [argon2.extract_parameters(kept) for kept in verified]
    assert len(cost) == 2
    assert cost[0] == cost[1]


@pytest.mark.gen_test
async def test_the_loop_goes_on_while_passwords_are_hashed():
    turns = 0
    work = asyncio.gather(*(passwords.make_hash("correct-horse-7") for _ in range(4)))
    while not work.done():
        await asyncio.sleep(0.001)
        turns += 1
    await work
    assert turns > 4


@pytest.mark.gen_test
async def test_a_hash_of_another_cost_is_outdated():
    assert passwords.is_outdated(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("x")) is True
    assert passwords.is_outdated(await passwords.make_hash("x")) is False
