"""The `hospitals` collection: the one hospital whose internet hospital this is, as it presents itself."""

from datetime import datetime
from typing import Final, TypedDict, cast

from storage.mongo import DuplicateKey, Store

HOSPITAL_ID: Final = "hospital"


class Hospital(TypedDict):
    """Names, licences and ways to reach it (R2-5); days are `YYYY-MM-DD`, `registered_subjects` subject codes."""

    _id: str
    name: str
    main_institution: str
    level: str
    ownership: str
    organization_code: str
    credit_code: str
    licence_number: str
    licence_valid_from: str
    licence_valid_to: str
    legal_representative: str
    security_filing_number: str
    security_filing_level: str
    registered_subjects: list[str]
    address: str
    phone: str
    complaint_phone: str
    service_hours: str
    introduction: str
    created_at: datetime
    updated_at: datetime


class HospitalRepository:
    """One document, `_id` = `HOSPITAL_ID`."""

    def __init__(self, store: Store) -> None:
        self._docs = store.db["hospitals"]

    async def get(self) -> Hospital | None:
        """The hospital; None before it has been described."""
        return cast("Hospital | None", await self._docs.find_one({"_id": HOSPITAL_ID}))

    async def add(self, hospital: Hospital) -> bool:
        """Describe the hospital; False: it has been described before and stays as it is."""
        try:
            await self._docs.insert_one(hospital)
        except DuplicateKey:
            return False
        return True
