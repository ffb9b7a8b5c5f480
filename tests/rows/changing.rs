//! S: changing a session and saving it.

use crate::page::page;
use crate::place::everywhere;

// S1
#[test]
fn keys_are_set_read_deleted_and_emptied_as_in_a_dictionary() {
    everywhere(|place| {
        let mut ada = place.visitor();
        ada.visit(&page().set("name", "Ada & Byron = café €").set("lang", "de").set("n", "1"));
        assert_eq!(ada.look().key("name"), Some("Ada & Byron = café €"));
        ada.visit(&page().unset("lang").set("n", "2"));
        let saw = ada.look();
        assert_eq!((saw.key("lang"), saw.key("n")), (None, Some("2")));
        ada.visit(&page().say("Init", "n=3&m=4"));
        let saw = ada.look();
        assert_eq!((saw.key("n"), saw.key("m")), (Some("2"), Some("4")), "setdefault");
        ada.visit(&page().say("Unset", "*").set("kept", "1"));
        assert_eq!(ada.look().data, [("kept".to_owned(), "1".to_owned())].into());
    });
}
