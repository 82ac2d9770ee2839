package brain

import (
	"fmt"
	"io/fs"
)

// KeyFile is what the file system says of a file that holds a secret: a password, a token, a private key.
type KeyFile struct {
	Path  string
	Mode  fs.FileMode
	Owner uint32 // uid
}

// KeyReaders says who besides its owner may read a file.
type KeyReaders int

// Readers of files.
const (
	// OwnerReads is for what people hold: API keys, private keys of sipio ca.
	OwnerReads KeyReaders = iota
	// GroupReads is for what a process is handed by its group (media-key is root:kamailio), or by systemd, whose credentials are
	// root's with mode 0440 and an access list.
	GroupReads
	// EverybodyReads is for what is no secret: certificates.
	EverybodyReads
)

// Fault says why a process of a user (uid) must not take a secret from the file, and what to do; "" = it may. The file is that
// user's or root's, and nobody else can write it or, but for the readers, read it. Root takes it from any owner: it looks
// after the files of all of them.
func (f KeyFile) Fault(user uint32, readers KeyReaders) (fault, cure string) {
	mode := f.Mode.Perm()
	switch {
	case readers == EverybodyReads:
		return "", ""
	case !f.Mode.IsRegular() && f.Mode.Type() != fs.ModeNamedPipe: // a pipe: --key-file <(pass show sipio)
		return f.Path + " is no file", "name the file that holds it"
	case mode&0o007 != 0:
		return fmt.Sprintf("%s is open to every user: mode %04o", f.Path, mode), "chmod o= " + f.Path
	case readers == OwnerReads && mode&0o070 != 0:
		return fmt.Sprintf("%s is open to its group: mode %04o", f.Path, mode), "chmod 600 " + f.Path
	case mode&0o030 != 0:
		return fmt.Sprintf("%s can be changed by its group: mode %04o", f.Path, mode), "chmod g=r " + f.Path
	case f.Owner != 0 && f.Owner != user && user != 0:
		return fmt.Sprintf("%s belongs to user %d, neither root nor who reads it", f.Path, f.Owner), "chown root " + f.Path
	}
	return "", ""
}
