"""What tests, benchmarks, load tests and deployment checks share: tiny models, free ports, real servers, full disks."""
