package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/stir"
	"github.com/sipio/sipio/internal/keyfile"
)

// maxStirFile bounds keys, certificates and headers in bytes, so that a wrong path is noticed.
const maxStirFile = 1 << 20

func newStir() *cobra.Command {
	cmd := &cobra.Command{Use: "stir", Short: "Sign and verify who calls (STIR/SHAKEN), offline"}
	cmd.AddCommand(newStirSign(), newStirVerify())
	return cmd
}

// signing is what is to be signed, as it was typed.
type signing struct {
	key, x5u, from, to, attest, origID string
	iat                                int64
}

func newStirSign() *cobra.Command {
	var s signing
	cmd := &cobra.Command{
		Use:   "sign --key FILE --x5u URL --from NUMBER --to NUMBER --attest A|B|C [--origid UUID] [--iat SECONDS]",
		Short: "Print the Identity header of a call",
		Long: "Signs a call as the brain does and prints the value of its Identity header (RFC 8224, 8225, 8588).\n" +
			"The key is ECDSA on P-256 in PEM; URL is where others find its certificate. A: the number is the caller's; B: the caller is known; C: neither.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			value, err := s.sign()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), value)
			return err
		},
	}
	cmd.Flags().StringVar(&s.key, "key", "", "file of the private key")
	cmd.Flags().StringVar(&s.x5u, "x5u", "", "https URL of the certificate")
	cmd.Flags().StringVar(&s.from, "from", "", "calling number, with the country code")
	cmd.Flags().StringVar(&s.to, "to", "", "called number, with the country code")
	cmd.Flags().StringVar(&s.attest, "attest", "", "attestation: A, B or C")
	cmd.Flags().StringVar(&s.origID, "origid", "", "UUID by which the origin is found again; a new one when absent")
	cmd.Flags().Int64Var(&s.iat, "iat", 0, "time of signing in Unix seconds; now when absent")
	return cmd
}

func (s *signing) sign() (string, error) {
	if s.key == "" || s.attest == "" {
		return "", errors.New("--key or --attest is missing")
	}
	from, err := stir.ParseParty(s.from)
	if err != nil {
		return "", fmt.Errorf("--from: %w", err)
	}
	to, err := stir.ParseParty(s.to)
	if err != nil {
		return "", fmt.Errorf("--to: %w", err)
	}
	body, err := keyfile.Read(s.key, maxStirFile, brain.GroupReads)
	if err != nil {
		return "", err
	}
	key, err := stir.ParseKey(body)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.key, err)
	}
	c := stir.Claims{Attest: stir.Attestation(s.attest), Orig: from, Dest: []stir.Party{to}, IAT: s.iat, OrigID: s.origID}
	if c.IAT == 0 {
		c.IAT = time.Now().Unix()
	}
	if c.OrigID == "" {
		c.OrigID = newUUID()
	}
	return stir.Signer{Key: key, X5U: s.x5u}.Sign(c)
}

// newUUID is a random one (RFC 9562 section 5.4).
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// verifying is a call whose header is to be verified, as it was typed.
type verifying struct {
	cert, roots, from, to, at string
}

func newStirVerify() *cobra.Command {
	var v verifying
	cmd := &cobra.Command{
		Use:   "verify --cert FILE --roots FILE --from NUMBER --to NUMBER [--at TIME] [HEADER-FILE]",
		Short: "Judge an Identity header",
		Long: "Judges the Identity header in a file, or on standard input, as the brain does, and prints verdict, reason, attestation and origid.\n" +
			"Nothing is fetched: --cert has the certificates that the header's x5u would give, the signer's first. Replay is not looked for.\n" +
			"Exit status 1 when the caller is not verified.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			header, err := readHeader(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			result, id, err := v.verify(header)
			if err != nil {
				return err
			}
			writeVerdict(cmd.OutOrStdout(), result, id)
			if result.Verstat != stir.Passed {
				return exitCode(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&v.cert, "cert", "", "file of the signer's certificate and those between it and a root, PEM or DER")
	cmd.Flags().StringVar(&v.roots, "roots", "", "file of the certificates that are trusted, PEM")
	cmd.Flags().StringVar(&v.from, "from", "", "calling number or URI of the request")
	cmd.Flags().StringVar(&v.to, "to", "", "called number or URI of the request")
	cmd.Flags().StringVar(&v.at, "at", "", "when the call came: RFC 3339, or 2006-01-02T15:04 in UTC; now when absent")
	return cmd
}

// readHeader reads the value of a header, with or without its name, unfolded.
func readHeader(stdin io.Reader, args []string) (string, error) {
	var raw []byte
	var err error
	if len(args) == 1 && args[0] != "-" {
		raw, err = readSmall(args[0])
	} else {
		raw, err = io.ReadAll(io.LimitReader(stdin, maxStirFile))
	}
	if err != nil {
		return "", err
	}
	value := strings.Join(strings.Fields(string(raw)), " ") // folded lines: only parameters may be folded
	if name, rest, ok := strings.Cut(value, ":"); ok && strings.EqualFold(strings.TrimSpace(name), "identity") {
		value = rest
	}
	return value, nil
}

func (v *verifying) verify(header string) (stir.Result, *stir.Identity, error) {
	if v.cert == "" || v.roots == "" || v.from == "" || v.to == "" {
		return stir.Result{}, nil, errors.New("--cert, --roots, --from or --to is missing")
	}
	at, err := moment(v.at, time.UTC)
	if err != nil {
		return stir.Result{}, nil, err
	}
	body, err := readSmall(v.roots)
	if err != nil {
		return stir.Result{}, nil, err
	}
	roots, err := stir.ParseRoots(body)
	if err != nil {
		return stir.Result{}, nil, fmt.Errorf("%s: %w", v.roots, err)
	}
	if body, err = readSmall(v.cert); err != nil {
		return stir.Result{}, nil, err
	}
	chain, err := stir.ParseChain(body)
	if err != nil {
		return stir.Result{}, nil, fmt.Errorf("%s: %w", v.cert, err)
	}
	id, refusal := stir.ParseIdentity(header)
	if refusal != nil {
		return refusal.Result(), nil, nil
	}
	judge := stir.Verifier{Roots: roots}
	return judge.Verify(id, chain, stir.Call{From: v.from, To: v.to, At: at}), id, nil
}

// writeVerdict prints what became of a header; of a caller who is not verified, what the header claims is marked so.
func writeVerdict(w io.Writer, r stir.Result, id *stir.Identity) {
	t := newTable("verdict", string(r.Verstat))
	t.row("reason", string(r.Reason))
	if r.Code != 0 {
		t.row("sip", fmt.Sprint(r.Code, " ", r.Phrase))
		t.row("because", r.Text)
	}
	if id != nil {
		says := func(value string) string {
			if value == "" || r.Verstat == stir.Passed {
				return value
			}
			return value + " (claimed)"
		}
		t.row("attest", says(string(id.Claims.Attest)))
		t.row("origid", says(id.Claims.OrigID))
		t.row("x5u", id.X5U)
	}
	if len(r.SPC) > 0 {
		t.row("provider", strings.Join(r.SPC, " "))
	}
	t.write(w)
}

// readSmall reads a file of at most maxStirFile bytes that is no secret.
func readSmall(path string) ([]byte, error) {
	return keyfile.Read(path, maxStirFile, brain.EverybodyReads)
}
