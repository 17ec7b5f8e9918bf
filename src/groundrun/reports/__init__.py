"""What people read: reports and the phrases they are made of."""
