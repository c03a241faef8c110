"""Official files into stores."""
