//! Payloads, spend rows and audit records, as they are and as they vary.

use super::super::testing::decode_lines;

macro_rules! snapshot {
    ($name:ident) => {
        #[test]
        fn $name() {
            let fixture = include_str!(concat!(
                "../../../testdata/formats/litellm/",
                stringify!($name),
                ".jsonl"
            ));
            insta::assert_snapshot!(decode_lines(fixture));
        }
    };
}

snapshot!(payload);
snapshot!(spend);
snapshot!(audit);
