"""Programs that make datasets. They run once per dataset; training only reads what they leave."""
