import Prim "mo:⛔";

/// Keeps notes, over upgrades too, and talks to itself and to the management canister.
persistent actor Notes {
    let management : actor { raw_rand : () -> async Blob } = actor "aaaaa-aa";
    var notes : [Text] = [];
    var ticks : Nat = 0;
    transient var sinceUpgrade : Nat = 0;

    /// The number of notes after adding one.
    public shared ({ caller }) func add(text : Text) : async Nat {
        if (caller == Prim.principalOfBlob("\04")) { Prim.trap("who are you?") };
        let before = notes;
        notes := Prim.Array_tabulate<Text>(
            before.size() + 1,
            func(i) = if (i < before.size()) before[i] else text,
        );
        sinceUpgrade += 1;
        Prim.debugPrint("noted " # text);
        notes.size();
    };

    public query func all() : async [Text] { notes };

    public query func counts() : async (Nat, Nat, Nat) {
        (notes.size(), sinceUpgrade, ticks);
    };

    /// Adds twice, each time by a call to itself.
    public func addTwice(text : Text) : async Nat {
        ignore await add(text # " 1");
        await add(text # " 2");
    };

    /// Changes, then traps: nothing of it may stay.
    public func fail() : async () {
        notes := [];
        Prim.trap("on purpose");
    };

    /// Catches the rejection of a call that traps.
    public func caught() : async Text {
        try { await fail(); "no error" } catch e { Prim.errorMessage(e) };
    };

    public func random() : async Blob { await management.raw_rand() };

    system func timer(set : Nat64 -> ()) : async () {
        ticks += 1;
        if (ticks < 3) { set(Prim.time() + 200_000_000) };
    };
};
