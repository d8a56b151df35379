"""The collaborators of one process."""


def test_the_chat_shares_the_journals_memory(server):
    chat = server.hub.chat
    assert chat.standings is server.journal.standings
    assert chat.marks is server.journal.marks
