//! Where a PostgreSQL server is: `postgres://user:password@host:5432/database?sslmode=require`.

/// A server, a user and a database.
#[derive(Clone, Debug)]
pub struct PostgresUrl {
    pub(super) config: tokio_postgres::Config,
}

/// Why a text is no [`PostgresUrl`]; never shows the text, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no URL of PostgreSQL.
    #[error("it is not a URL such as postgres://user:password@host:5432/database")]
    Form,
    /// Something in it means nothing.
    #[error("{0}")]
    Setting(String),
}

impl PostgresUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(UrlError::Form);
        }
        let config = text.parse().map_err(|error: tokio_postgres::Error| UrlError::Setting(error.to_string()))?;
        Ok(Self { config })
    }
}
