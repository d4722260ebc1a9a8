"""Networks that come with stampbench, besides the U-Net and PocketNet's networks."""
