package kam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Lamp lights, or puts out, the message lamps of phones: NOTIFYs outside a subscription (RFC 3842), which phones take
// that were told their mailbox, sent by Kamailio itself to each contact of a device.
type Lamp struct {
	client *Client
	domain string
}

// NewLamp makes a Lamp. domain is what its NOTIFYs come from: the node's own name or address.
func NewLamp(client *Client, domain string) (*Lamp, error) {
	if !plainWord.MatchString(domain) {
		return nil, fmt.Errorf("domain of message lamps %q: a name or address", domain)
	}
	return &Lamp{client: client, domain: domain}, nil
}

// ErrNoContact says that a device has no contact: its lamp is set when it registers again.
var ErrNoContact = errors.New("the device is not registered here")

// maxContacts bounds the contacts told of one device. Kamailio keeps 10.
const maxContacts = 16

var plainWord = regexp.MustCompile(`^[A-Za-z0-9._:\[\]-]{1,255}$`)

// aorWord is user@host as Kamailio's location table knows it.
var aorWord = regexp.MustCompile(`^[A-Za-z0-9._~+*-]{1,128}@[A-Za-z0-9._:\[\]-]{1,128}$`)

// uriWord is a SIP URI that can stand within <> of a header: one word, without quotes and line ends.
var uriWord = regexp.MustCompile(`^sips?:[^\s<>"\x00-\x1f\x7f]{1,512}$`)

// Set tells every contact of a device how many messages it has. unheard and heard are counts; aor is user@host, with
// or without sip:. One contact that cannot be told does not keep the others from it; the errors are joined.
func (l *Lamp) Set(ctx context.Context, aor string, unheard, heard int) error {
	aor = strings.TrimPrefix(aor, "sip:")
	if !aorWord.MatchString(aor) {
		return fmt.Errorf("message lamp: %q is no address of a device", aor)
	}
	contacts, err := l.contacts(ctx, aor)
	if err != nil {
		return err
	}
	var failed error
	for _, c := range contacts {
		if err := l.client.Call(ctx, "tm.t_uac_start", l.notify(aor, c, max(unheard, 0), max(heard, 0)), nil); err != nil {
			failed = errors.Join(failed, fmt.Errorf("message lamp of %s: %w", aor, err))
		}
	}
	return failed
}

// contact is what is read of one contact of ul.lookup.
type contact struct {
	Address  string `json:"Address"`
	Received string `json:"Received"`
	Path     string `json:"Path"`
	Socket   string `json:"Socket"`
}

// contacts asks for the contacts of a device.
func (l *Lamp) contacts(ctx context.Context, aor string) ([]contact, error) {
	var found json.RawMessage
	if err := l.client.Call(ctx, "ul.lookup", []any{"location", aor}, &found); err != nil {
		var refused *Error
		if errors.As(err, &refused) && strings.Contains(strings.ToLower(refused.Message), "not found") {
			return nil, ErrNoContact
		}
		return nil, err
	}
	list, err := readContacts(found)
	if err != nil {
		return nil, fmt.Errorf("ul.lookup %s: %w", aor, err)
	}
	if len(list) == 0 {
		return nil, ErrNoContact
	}
	return list, nil
}

// readContacts reads ul.lookup's answer: {"AoR":…, "Contacts":[{"Contact":{…}}, …]}. Contacts that no NOTIFY can be
// written to are left out.
func readContacts(raw json.RawMessage) ([]contact, error) {
	var record struct {
		Contacts []struct {
			Contact contact `json:"Contact"`
		} `json:"Contacts"`
	}
	if err := json.Unmarshal(raw, &record); err != nil {
		return nil, fmt.Errorf("read the contacts: %w", err)
	}
	var list []contact
	for _, c := range record.Contacts {
		if uriWord.MatchString(c.Contact.Address) && len(list) < maxContacts {
			list = append(list, c.Contact)
		}
	}
	return list, nil
}

// notify are the parameters of tm.t_uac_start: method, request URI, next hop, socket, headers, body. A dot is absent.
func (l *Lamp) notify(aor string, c contact, unheard, heard int) []any {
	waiting := "no"
	if unheard > 0 {
		waiting = "yes"
	}
	body := fmt.Sprintf("Messages-Waiting: %s\r\nMessage-Account: sip:%s\r\nVoice-Message: %d/%d (0/0)\r\n", waiting, aor, unheard, heard)
	headers := "From: <sip:voicemail@" + l.domain + ">\r\nTo: <sip:" + aor + ">\r\nContact: <sip:voicemail@" + l.domain + ">\r\n" +
		"Event: message-summary\r\nSubscription-State: active\r\nContent-Type: application/simple-message-summary\r\n"
	return []any{"NOTIFY", c.Address, nextHop(c), orDot(c.Socket), headers, body}
}

// nextHop is where a contact's phone was last heard from, behind its NAT; through its Path if it has one.
func nextHop(c contact) string {
	if uri := firstURI(c.Path); uri != "" {
		return uri
	}
	if uriWord.MatchString(c.Received) {
		return c.Received
	}
	return "."
}

// firstURI returns the first URI of a Path header, "" when there is none.
func firstURI(path string) string {
	_, rest, ok := strings.Cut(path, "<")
	uri, _, closed := strings.Cut(rest, ">")
	if !ok || !closed || !uriWord.MatchString(uri) {
		return ""
	}
	return uri
}

// orDot is how an RPC says that a text is absent.
func orDot(text string) string {
	if text == "" || text == "[not set]" || strings.ContainsAny(text, " \r\n") {
		return "."
	}
	return text
}
