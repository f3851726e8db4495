//! End-to-end tests: they drive an installed tenement on a throwaway host with a real systemd.
