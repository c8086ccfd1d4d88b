//! `crds/` is what the types say.

use std::path::Path;

use chathooks::api::crds;

#[test]
fn the_committed_files_are_what_the_types_print() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut expected = Vec::new();
    for crd in crds::all() {
        let path = dir.join(crds::file_name(&crd));
        let printed = crds::to_yaml(&crd).unwrap();
        if update {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&path, &printed).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == printed,
            "{} is out of date; print it again with `chathooks crds` or UPDATE_GOLDEN=1",
            path.display()
        );
        expected.push(crds::file_name(&crd));
    }
    let mut found: Vec<String> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, expected, "crds/ holds a file no kind prints");
}
