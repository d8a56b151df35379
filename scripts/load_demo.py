"""`python -m scripts.load_demo`: the demonstration data into the hospital that the environment describes.

Ends with 0 when they are there, also when they were before; else with one line on standard error and 1.
"""

import asyncio
import sys

from app import logs
from app.settings import BadSettings, Settings, read
from app.wiring import open_hospital
from core.errors import AWAY
from scripts.demo.load import load


async def run(settings: Settings) -> bool:
    """Whether anything was loaded; False: it had been before."""
    hospital = await open_hospital(settings)
    try:
        return await load(hospital.ctx, production=settings.production)
    finally:
        await hospital.close()


def main() -> int:
    """The exit status."""
    try:
        settings = read()
        logs.configure(settings.log_level)
        asyncio.run(run(settings))
    except (BadSettings, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except AWAY as error:
        sys.stderr.write(f"a store cannot be reached: {type(error).__name__}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
