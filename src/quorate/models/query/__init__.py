"""Questions to a model's table: filters, order, pages, aggregates; and how they are put without holding up the node."""
