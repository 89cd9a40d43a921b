//! The use cases of the application.
