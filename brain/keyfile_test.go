package brain

import (
	"io/fs"
	"strings"
	"testing"
)

func TestKeyFile_IsForItsOwnerAndWhoIsHandedIt(t *testing.T) {
	// Proves whose file, with which mode, a process may take a secret from: a row for each verdict, both kinds of readers; what
	// is refused says what to do about it.
	const me, other = 1000, 1001
	for _, c := range []struct {
		name     string
		mode     fs.FileMode
		owner    uint32
		owns     string // said of a file that its owner alone may read; "" = it is taken
		ofAGroup string // and of one that a group may read
	}{
		{"mine", 0o600, me, "", ""},
		{"mine, to be read only", 0o400, me, "", ""},
		{"root's credential", 0o440, 0, "open to its group", ""},
		{"of a group", 0o640, 0, "open to its group", ""},
		{"written by a group", 0o660, me, "open to its group", "changed by its group"},
		{"run by a group", 0o650, me, "open to its group", "changed by its group"},
		{"read by everybody", 0o604, me, "open to every user: mode 0604", "open to every user: mode 0604"},
		{"written by everybody", 0o602, me, "open to every user", "open to every user"},
		{"somebody else's", 0o640, other, "open to its group", "belongs to user 1001"},
		{"somebody else's alone", 0o600, other, "belongs to user 1001", "belongs to user 1001"},
		{"a pipe", fs.ModeNamedPipe | 0o600, me, "", ""},
		{"a folder", fs.ModeDir | 0o700, me, "no file", "no file"},
		{"a device", fs.ModeDevice | fs.ModeCharDevice | 0o600, me, "no file", "no file"},
	} {
		for readers, says := range map[KeyReaders]string{OwnerReads: c.owns, GroupReads: c.ofAGroup, EverybodyReads: ""} {
			f := KeyFile{Path: "/etc/x", Mode: c.mode, Owner: c.owner}
			fault, cure := f.Fault(me, readers)
			if (fault == "") != (says == "") || !strings.Contains(fault, says) || (cure == "") != (says == "") {
				t.Errorf("%s, %v: %q, %q, want %q", c.name, readers, fault, cure, says)
			}
		}
	}
	if fault, _ := (KeyFile{Path: "/etc/x", Mode: 0o600, Owner: other}).Fault(0, OwnerReads); fault != "" {
		t.Errorf("root does not take the file of another: %s", fault)
	}
}
