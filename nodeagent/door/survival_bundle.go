package door

import (
	"bytes"
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/sipio/sipio/brain/api"
)

// bundle is what the door knows of the accounts, indexed and immutable.
type bundle struct {
	confirmedMS int64                   // epoch milliseconds when a brain last confirmed all of it, 0 = there is none
	accounts    []*keptAccount          // by tag
	domains     map[string]*keptAccount // by lower-case domain
}

// keptAccount is one account with its indexes and the bytes it came as.
type keptAccount struct {
	api.SurvivalAccount
	raw     json.RawMessage
	callers map[string]*api.SurvivalCaller // by AOR
	numbers map[string]*api.SurvivalNumber
}

// newBundle indexes accounts. What is out of bounds is an error: half of a bundle is none.
func newBundle(confirmedMS int64, accounts []json.RawMessage) (*bundle, error) {
	if len(accounts) > api.MaxSurvivalAccounts {
		return nil, fmt.Errorf("survival answers of %d accounts, limit %d", len(accounts), api.MaxSurvivalAccounts)
	}
	b, size := &bundle{confirmedMS: confirmedMS, domains: map[string]*keptAccount{}}, 0
	for _, raw := range accounts {
		if size += len(raw); size > api.MaxSurvivalBundle {
			return nil, fmt.Errorf("survival answers of more than %d bytes", api.MaxSurvivalBundle)
		}
		a, err := readAccount(raw)
		if err != nil {
			return nil, err
		}
		b.accounts = append(b.accounts, a)
		for _, d := range a.Domains {
			b.domains[d] = a
		}
	}
	slices.SortFunc(b.accounts, func(x, y *keptAccount) int { return cmp.Compare(x.Tag, y.Tag) })
	return b, nil
}

// tags lists the tags of the accounts, sorted.
func (b *bundle) tags() []string {
	list := make([]string, len(b.accounts))
	for i, a := range b.accounts {
		list[i] = a.Tag
	}
	return list
}

// readAccount decodes one account and indexes it.
func readAccount(raw json.RawMessage) (*keptAccount, error) {
	if len(raw) > api.MaxSurvivalAccount {
		return nil, fmt.Errorf("survival answers of one account: %d bytes, limit %d", len(raw), api.MaxSurvivalAccount)
	}
	a := &keptAccount{raw: raw, callers: map[string]*api.SurvivalCaller{}, numbers: map[string]*api.SurvivalNumber{}}
	if err := json.Unmarshal(raw, &a.SurvivalAccount); err != nil {
		return nil, errors.New("survival answers of one account cannot be read") // the cause would quote what must stay secret
	}
	if a.Tag == "" || a.AccountID == "" || a.Media == nil {
		return nil, errors.New("survival answers of one account are not whole")
	}
	for i := range a.Help {
		if !wholeHelp(&a.Help[i]) {
			return nil, errors.New("survival answers of one account hold calls for help that lead nowhere")
		}
	}
	for i := range a.Callers {
		c := &a.Callers[i]
		a.callers[c.AOR] = c
	}
	for i := range a.Numbers {
		n := &a.Numbers[i]
		walks := leadsOn(n.Routes)
		for _, own := range n.Own {
			walks = walks && leadsOn(own.Routes)
		}
		if !walks {
			return nil, errors.New("survival answers of one account hold routes that do not lead on")
		}
		a.numbers[n.Number] = n
	}
	return a, nil
}

// leadsOn tells whether the steps of a plan rise from 1 and their exits lead forward, so that every walk ends.
func leadsOn(routes []api.Route) bool {
	step := 0
	for _, r := range routes {
		if r.Step != step && r.Step != step+1 || r.Step < 1 || r.Busy != 0 && r.Busy <= r.Step || r.Noanswer != 0 && r.Noanswer <= r.Step {
			return false
		}
		step = r.Step
	}
	return true
}

// survivalPage is an api.SurvivalReply that keeps the bytes of its accounts.
type survivalPage struct {
	Accounts []json.RawMessage `json:"accounts"`
	Kept     []string          `json:"kept"`
	More     bool              `json:"more"`

	accounts []*keptAccount
}

func readPage(raw []byte) (*survivalPage, error) {
	var page survivalPage
	if err := json.Unmarshal(raw, &page); err != nil {
		return nil, errors.New("survival answers of the brain cannot be read")
	}
	for _, r := range page.Accounts {
		a, err := readAccount(r)
		if err != nil {
			return nil, err
		}
		page.accounts = append(page.accounts, a)
	}
	return &page, nil
}

// keptBundle is what is in the file, before encryption.
type keptBundle struct {
	ConfirmedMS int64             `json:"confirmed_ms"`
	Realms      map[string]int64  `json:"realms"` // with the epoch milliseconds when each was last seen
	Accounts    []json.RawMessage `json:"accounts"`
}

// The file is a line that names its format, a salt, and the JSON of a keptBundle sealed by AES-256-GCM. The
// key is derived from the node key and the salt, which is new each time, so a nonce is never used twice.
const (
	bundleMagic   = "sipio survival 1\n"
	bundleSalt    = 32
	bundleInfo    = "sipio survival answers"
	maxBundleFile = api.MaxSurvivalBundle + 1<<20
)

// bundleSeal returns the cipher of a salt.
func bundleSeal(key string, salt []byte) (cipher.AEAD, error) {
	secret, err := hkdf.Key(sha256.New, []byte(key), salt, bundleInfo, 32)
	if err != nil {
		return nil, fmt.Errorf("derive the key of survival answers: %w", err)
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("make the cipher of survival answers: %w", err)
	}
	return cipher.NewGCM(block)
}

// sealBundle encrypts what is kept.
func sealBundle(key string, kept *keptBundle) ([]byte, error) {
	plain, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("encode survival answers: %w", err)
	}
	head := append([]byte(bundleMagic), make([]byte, bundleSalt)...)
	salt := head[len(bundleMagic):]
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("salt of survival answers: %w", err)
	}
	seal, err := bundleSeal(key, salt)
	if err != nil {
		return nil, err
	}
	return seal.Seal(head, make([]byte, seal.NonceSize()), plain, head), nil
}

var errBundle = errors.New("not a whole file of survival answers of this node's key")

// openBundle undoes sealBundle. A file that is cut, changed or of another key is refused.
func openBundle(key string, sealed []byte) (*keptBundle, error) {
	headLen := len(bundleMagic) + bundleSalt
	if len(sealed) < headLen || !bytes.HasPrefix(sealed, []byte(bundleMagic)) {
		return nil, errBundle
	}
	head := sealed[:headLen]
	seal, err := bundleSeal(key, head[len(bundleMagic):])
	if err != nil {
		return nil, err
	}
	plain, err := seal.Open(nil, make([]byte, seal.NonceSize()), sealed[headLen:], head)
	if err != nil {
		return nil, errBundle
	}
	var kept keptBundle
	if err := json.Unmarshal(plain, &kept); err != nil {
		return nil, errBundle
	}
	return &kept, nil
}

// readBundle reads the file; nil when there is none.
func readBundle(path, key string) (*keptBundle, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open survival answers: %w", err)
	}
	defer func() { _ = f.Close() }()
	sealed, err := io.ReadAll(io.LimitReader(f, maxBundleFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read survival answers: %w", err)
	case len(sealed) > maxBundleFile:
		return nil, fmt.Errorf("survival answers of more than %d bytes", maxBundleFile)
	}
	return openBundle(key, sealed)
}

// writeBundle replaces the file whole: whoever reads it after a crash finds the old one or the new one.
func writeBundle(path, key string, kept *keptBundle) error {
	sealed, err := sealBundle(key, kept)
	if err != nil {
		return err
	}
	temp := path + ".new"
	if err := writeSynced(temp, sealed); err != nil {
		return fmt.Errorf("write survival answers: %w", err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write survival answers: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync survival answers: %w", err)
	}
	defer func() { _ = dir.Close() }()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("sync survival answers: %w", err)
	}
	return nil
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// removeBundle takes the file away; there being none is as good.
func removeBundle(path string, log *slog.Logger) {
	if path == "" {
		return
	}
	for _, name := range []string{path, path + ".new"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Error("survival answers are switched off, and the kept ones cannot be removed", "file", name, "error", err)
		}
	}
}
