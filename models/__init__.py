"""What a network is: architectures as data, modules built from them, filters removed from them."""
