"""A network's computation as the search for actions sees it: values with features last, layers between them."""
