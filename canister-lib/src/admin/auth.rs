//! Who may call the admin methods.

use candid::Principal;
use icwasi_types::{AdminError, Role};

use crate::settings::Settings;

/// Who sent the message that is being executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As authenticated by the IC.
    pub principal: Principal,
    /// Whether the IC says that it controls this canister.
    pub is_controller: bool,
}

/// The role of `caller`: controllers are admins, others have what was granted to them.
///
/// The anonymous principal never has one, even if somebody made it a controller: anybody on the
/// internet could then replace the canister's files.
pub fn role(caller: &Caller, settings: &Settings) -> Option<Role> {
    if caller.principal == Principal::anonymous() {
        None
    } else if caller.is_controller {
        Some(Role::Admin)
    } else {
        settings.role(&caller.principal)
    }
}

/// `NotAuthorized` unless `caller` has the role `needed`, or one that includes it.
pub fn authorize(caller: &Caller, settings: &Settings, needed: Role) -> Result<(), AdminError> {
    match role(caller, settings) {
        Some(role) if role >= needed => Ok(()),
        _ => Err(AdminError::NotAuthorized),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_and_who_was_granted_a_role_and_never_anonymous() {
        let principal = |number| Principal::self_authenticating([number; 32]);
        let caller = |principal, is_controller| Caller {
            principal,
            is_controller,
        };
        let mut settings = Settings::new();
        settings.set_role(principal(1), Some(Role::Reader));
        settings.set_role(principal(2), Some(Role::Writer));
        settings.set_role(principal(3), Some(Role::Admin));
        settings.set_role(Principal::anonymous(), Some(Role::Admin));
        for (caller, highest) in [
            (caller(principal(7), true), Some(Role::Admin)),
            (caller(principal(1), true), Some(Role::Admin)),
            (caller(principal(1), false), Some(Role::Reader)),
            (caller(principal(2), false), Some(Role::Writer)),
            (caller(principal(3), false), Some(Role::Admin)),
            (caller(principal(7), false), None),
            (caller(Principal::anonymous(), true), None),
            (caller(Principal::anonymous(), false), None),
        ] {
            for needed in [Role::Reader, Role::Writer, Role::Admin] {
                let allowed = highest.is_some_and(|highest| needed <= highest);
                let result = authorize(&caller, &settings, needed);
                assert_eq!(result.is_ok(), allowed, "{caller:?} {needed:?}");
            }
        }
    }
}
