"""Notices outside of the app (subscribe message, then text message) to members of a visit who are offline."""
