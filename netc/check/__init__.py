"""What can be said of nets and solvers without running them."""
