//! Export objects of all four generations, and the traps of the encoding.

use super::super::testing::decode_lines;

macro_rules! snapshot {
    ($name:ident) => {
        #[test]
        fn $name() {
            let fixture = include_str!(concat!(
                "../../../testdata/formats/otlp/",
                stringify!($name),
                ".jsonl"
            ));
            insta::assert_snapshot!(decode_lines(fixture));
        }
    };
}

snapshot!(generation0);
snapshot!(generation1);
snapshot!(generation2);
snapshot!(generation3);
snapshot!(edges);
