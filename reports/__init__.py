"""Tables from records: data frames in, markdown out."""
