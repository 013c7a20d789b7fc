"""What keys may use and have used: in this process, or in a store that several servers share."""
