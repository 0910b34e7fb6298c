"""What people look at: reports, tables, pictures, lists."""
