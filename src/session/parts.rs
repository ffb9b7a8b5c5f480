//! The bytes of a record, part by part; integers are big-endian.

use super::name::Name;
use super::view::Unreadable;

/// Writes the parts of a record.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u8(&mut self, n: u8) {
        self.0.push(n);
    }
    /// A count. The limits of a policy keep it far below 65,536; the reader refuses what does not add up.
    pub(super) fn u16(&mut self, n: usize) {
        self.0.extend_from_slice(&u16::try_from(n).unwrap_or(u16::MAX).to_be_bytes());
    }
    pub(super) fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    pub(super) fn u64(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    pub(super) fn name(&mut self, name: &Name) {
        self.text8(name.as_str());
    }
    /// A text of at most 255 bytes.
    pub(super) fn text8(&mut self, text: &str) {
        self.u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(text.as_bytes());
    }
    pub(super) fn text16(&mut self, text: &str) {
        self.u16(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }
    pub(super) fn bytes16(&mut self, bytes: &[u8]) {
        self.u16(bytes.len());
        self.0.extend_from_slice(bytes);
    }
    pub(super) fn bytes32(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(bytes);
    }
    pub(super) fn text32(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// Reads the parts of a record where they lie; bytes that end too early are unreadable.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*taken)
    }
    pub(super) fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array::<1>().map(|[n]| n)
    }
    pub(super) fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_be_bytes)
    }
    pub(super) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_be_bytes)
    }
    pub(super) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }
    pub(super) fn bytes16(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.u16()?;
        self.take(length.into())
    }
    pub(super) fn bytes32(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.u32()?;
        self.take(length as usize)
    }
    pub(super) fn text(&mut self, length: usize) -> Result<&'a str, Unreadable> {
        std::str::from_utf8(self.take(length)?).map_err(|_| Unreadable)
    }
    pub(super) fn name(&mut self) -> Result<&'a str, Unreadable> {
        self.text8()
    }
    pub(super) fn text8(&mut self) -> Result<&'a str, Unreadable> {
        let length = self.u8()?;
        self.text(length.into())
    }
    pub(super) fn text_if(&mut self, present: bool) -> Result<Option<&'a str>, Unreadable> {
        if !present {
            return Ok(None);
        }
        let length = self.u16()?;
        self.text(length.into()).map(Some)
    }
}
