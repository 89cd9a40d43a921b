//! The name that routes a request.

