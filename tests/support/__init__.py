"""What tests, benchmarks and load tests share: tiny models, free ports, real servers, full disks."""
