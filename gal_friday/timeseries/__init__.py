"""What is measured along time: its types, its text form, and the stores it goes to."""
