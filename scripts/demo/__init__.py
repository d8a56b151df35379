"""What the demonstration hospital is made of; writing it to the stores is the seeder's work.

One JSON file a name, one record a line; every person, number and address is invented, and the numbers show it: phones
`1990000….`, licences `999…`, region `9900..` in the credit code, resident numbers of the never issued area `110000`.

- `hospital`: one record: name, main_institution, organization_code (GB 11714), credit_code (GB 32100),
  licence_number, licence_valid_from, licence_valid_to, level, ownership, legal_representative, address, phone,
  complaint_phone, service_hours, security_filing_number, security_filing_level, registered_subjects, introduction
- `departments`: code, name, subject_code, introduction, order
- `doctors`: account, phone, name, gender, title_code, department (its code), licence_number, licence_valid_to,
  qualification_number, practice_scope (subject codes), practice_start, main_institution, multi_site_filed,
  consent_document, skills, introduction, fees {consult, followup} in fen, services {consult, followup}
- `pharmacists`: account, phone, name, role, gender, title_code, licence_number, licence_valid_to,
  qualification_number, practice_start, introduction
- `nurses`: account, phone, name, role, gender, title_code, department, licence_number, licence_valid_to,
  practice_start, introduction
- `officers`: account, phone, name, role (admin, security_admin, auditor, regulator), gender, introduction
- `patients`: account, phone, name, patients [{name, id_type, id_number, gender, birth_date, phone, relation,
  guardian}]; guardian {name, id_type, id_number, phone, relation} or null
- `consult_types`: code, name, description, order, enabled
- `consent_texts`: kind, version, title, effective_from, body (markdown; in the file a list of lines)

Dates are ISO days of the hospital's calendar. Two doctors are there to be refused: `shaolinchuan`, whose licence is
out of date (R2-8), and `mengxiaoman`, not yet three years in practice until 2028-07-01 (R2-2).
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

DataName = Literal[
    "hospital",
    "departments",
    "doctors",
    "pharmacists",
    "nurses",
    "officers",
    "patients",
    "consult_types",
    "consent_texts",
]

# Printed at start-up and known to everyone, therefore refused in production mode by whoever writes the accounts.
DEMO_PASSWORDS: Mapping[str, str] = MappingProxyType(
    {
        "patient": "Demo-2026-patient",
        "doctor": "Demo-2026-doctor",
        "pharmacist": "Demo-2026-pharmacist",
        "nurse": "Demo-2026-nurse",
        "admin": "Demo-2026-admin",
        "security_admin": "Demo-2026-security",
        "auditor": "Demo-2026-auditor",
        "regulator": "Demo-2026-regulator",
    }
)


def read(name: DataName) -> list[dict[str, Any]]:
    """The records of one file in its order, fresh at every call so that a caller may add to them."""
    records: list[dict[str, Any]] = json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    if name == "consent_texts":
        for record in records:
            record["body"] = "\n".join(record["body"])
    return records
