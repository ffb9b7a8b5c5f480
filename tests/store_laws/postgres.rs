//! What only the PostgreSQL store promises.
