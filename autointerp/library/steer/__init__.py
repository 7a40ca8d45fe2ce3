"""What is steered to order: features, doses and conditions that are chosen for a specification, and measured."""
