"""Two browsers that reach the hospital's call process through coturn alone."""

import asyncio
import secrets

import pytest

from tests.e2e.clinic import open_clinic, require_plays, talking
from tests.relay.coturn import coturn

RELAYED = {"policy": "relay"}


@pytest.mark.feature("P1.9")
@pytest.mark.feature("D5.2")
def test_two_who_can_only_be_relayed_talk_and_are_recorded(tmp_path):
    async def visit():
        async with (
            coturn(tmp_path, secrets.token_hex(32)) as relay,
            open_clinic(TURN_URLS=relay.url, TURN_SECRET=relay.secret) as clinic,
            talking(clinic, tmp_path / "profile") as talk,
        ):
            await talk.begin(doctor=RELAYED, patient=RELAYED)
            for page, person in zip(talk.pages, (talk.stage.doctor, talk.stage.patient), strict=True):
                path = await page.call("path")
                assert (path["type"], path["url"]) == ("relay", relay.url)
                expiry, _, account = path["username"].partition(":")
                assert (expiry.isdecimal(), account) == (True, person.account["id"])
                assert f"user <{path['username']}>: incoming packet ALLOCATE processed, success" in relay.said()
            both = ("doctor-1", "patient-1")
            require_plays(await clinic.recorded(talk.call, tmp_path / "recorded", *both), *both)
            await talk.patient.call("hangUp")
            await talk.hear("call.state", state="ended")

    asyncio.run(visit())
