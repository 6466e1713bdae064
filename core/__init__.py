"""The framework: from YAML to a running datapath. It knows no feature."""
