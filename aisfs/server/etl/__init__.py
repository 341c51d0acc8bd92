"""ETL: code of users, run in processes of its own and called per object."""
