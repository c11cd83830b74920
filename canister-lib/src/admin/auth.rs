//! Who may call the admin methods.

use candid::Principal;
use icwasi_types::AdminError;

/// Who sent the message that is being executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As authenticated by the IC.
    pub principal: Principal,
    /// Whether the IC says that it controls this canister.
    pub is_controller: bool,
}

/// `NotAuthorized` unless `caller` may use the admin methods.
///
/// Controllers may. The anonymous principal never may, even if somebody made it a controller:
/// anybody on the internet could then replace the canister's files.
pub fn authorize(caller: &Caller) -> Result<(), AdminError> {
    if caller.is_controller && caller.principal != Principal::anonymous() {
        Ok(())
    } else {
        Err(AdminError::NotAuthorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_only_and_never_anonymous() {
        let principal = Principal::self_authenticating([7; 32]);
        let caller = |principal, is_controller| Caller {
            principal,
            is_controller,
        };
        assert_eq!(authorize(&caller(principal, true)), Ok(()));
        let refused = Err(AdminError::NotAuthorized);
        assert_eq!(authorize(&caller(principal, false)), refused);
        assert_eq!(authorize(&caller(Principal::anonymous(), true)), refused);
        assert_eq!(authorize(&caller(Principal::anonymous(), false)), refused);
    }
}
