"""Activity classification: whole pictures to what the people in them do."""
