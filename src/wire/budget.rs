//! How much of a session one request may carry, and what is left of that while its headers are made.

/// How much of a session one request may carry. No request may fail because we made it too large (protocol, 6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Header fields that we add, all policies of the route together.
    pub fields: usize,
    /// Bytes of one key's value, as encoded.
    pub value: usize,
    /// Bytes of one header line.
    pub line: usize,
    /// Bytes of all lines that we add.
    pub total: usize,
}

/// What is left of a backend's budget while the headers of a request are made.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    budget: Budget,
    fields: usize,
    bytes: usize,
}

/// What a header line costs beyond name and value: `: ` and CRLF.
pub(super) const LINE_COST: usize = 4;

/// The longest list of keys that were left out.
pub(super) const OMISSIONS_LEN: usize = 256;

/// What that list costs as a line, under any prefix of ordinary length.
const OMISSIONS_COST: usize = OMISSIONS_LEN + 32;

/// Header fields that are sent whatever the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// How many.
    pub fields: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// State, version and clocks of a policy: they are sent whatever the budget.
const OWED_FIELDS: usize = 4;
const OWED_COST: usize = 192;

impl Allowance {
    /// The budget of a backend for this many policies, less what each may take to say what was left out, and less what
    /// those after the first are owed in any case.
    #[must_use]
    pub const fn new(budget: Budget, policies: usize) -> Self {
        let others = policies.saturating_sub(1);
        let fields = budget.fields.saturating_sub(policies + others * OWED_FIELDS);
        let bytes = budget.total.saturating_sub(policies * OMISSIONS_COST + others * OWED_COST);
        Self { budget, fields, bytes }
    }

    /// Sets aside what a later policy of the route is owed beyond state, version and clocks.
    pub const fn owe(&mut self, owed: Owed) {
        self.fields = self.fields.saturating_sub(owed.fields);
        self.bytes = self.bytes.saturating_sub(owed.bytes);
    }

    /// The largest value of one key.
    pub(super) const fn largest_value(&self) -> usize {
        self.budget.value
    }

    /// The largest value that one more header of this name may have; `None` when there may be none.
    pub(super) fn room(&self, name: usize) -> Option<usize> {
        let line = self.budget.line.min(self.bytes);
        (self.fields > 0).then(|| line.checked_sub(name + LINE_COST)).flatten()
    }

    pub(super) const fn spend(&mut self, name: usize, value: usize) {
        self.fields = self.fields.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(name + value + LINE_COST);
    }
}
