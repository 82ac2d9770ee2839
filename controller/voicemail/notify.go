package voicemail

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/smtp"
	"strings"
	"time"

	"github.com/sipio/sipio/brain"
)

const (
	mailTime      = 20 * time.Second
	maxAttachment = 10 << 20
)

// Mail is the relay that mail leaves by, one that takes mail from this machine without a password.
type Mail struct {
	Server string // host:port; "" = no mail
	From   string // address of the sender
}

// event is what the operator's server gets.
type event struct {
	Event       string `json:"event"` // voicemail.message
	AccountID   string `json:"account_id"`
	VoicemailID string `json:"voicemail_id"`
	MessageID   string `json:"message_id"`
	Caller      string `json:"caller,omitempty"`
	CallerName  string `json:"caller_name,omitempty"`
	DurationMS  int    `json:"duration_ms"`
	CreatedTS   int    `json:"created_ts"`
}

// tellOf tells of a message, to the server and by mail.
func (b *Boxes) tellOf(ctx context.Context, box *brain.Voicemail, msg *brain.VoicemailMessage) error {
	var errs []error
	if box.NotifyURL != "" && b.Poster != nil {
		body, err := json.Marshal(event{"voicemail.message", msg.AccountID, box.ID, msg.ID, msg.Caller, msg.CallerName, msg.DurationMS, msg.CreatedTS})
		if err == nil {
			err = b.Poster.Post(ctx, msg.AccountID, box.NotifyURL, msg.ID, body)
		}
		errs = append(errs, err)
	}
	if box.NotifyEmail != "" && b.Mail.Server != "" {
		errs = append(errs, b.mail(ctx, box, msg))
	}
	err := errors.Join(errs...)
	if err == nil && len(errs) > 0 {
		b.told.Add(1)
	}
	return err
}

func (b *Boxes) mail(ctx context.Context, box *brain.Voicemail, msg *brain.VoicemailMessage) error {
	var sound []byte
	if box.AttachRecording {
		var err error
		if sound, err = b.Objects.Read(ctx, msg.ObjectKey, maxAttachment); err != nil { // the news are worth more than the sound
			b.Log.Warn("a mail goes without the sound of its message", "account", msg.AccountID, "message", msg.ID, "err", err)
			sound = nil
		}
	}
	return b.Mail.send(ctx, box.NotifyEmail, letter(b.Mail.From, box, msg, sound))
}

// letter writes the mail (RFC 5322, RFC 2045). Nothing of a caller gets into a header but encoded.
func letter(from string, box *brain.Voicemail, msg *brain.VoicemailMessage, sound []byte) []byte {
	caller := msg.Caller
	if caller == "" {
		caller = "a withheld number"
	}
	when := time.Unix(int64(msg.CreatedTS), 0).UTC()
	var w strings.Builder
	fmt.Fprintf(&w, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@sipio>\r\nMIME-Version: 1.0\r\n", from, box.NotifyEmail,
		mime.QEncoding.Encode("utf-8", "Voice message from "+caller), when.Format(time.RFC1123Z), msg.ID)
	text := base64Lines([]byte(fmt.Sprintf("A voice message of %d s from %s came for %s on %s.\r\n",
		(msg.DurationMS+500)/1000, caller, box.Name, when.Format("2006-01-02 15:04 MST"))))
	const plain = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	if sound == nil {
		return []byte(w.String() + plain + text)
	}
	const mark = "sipio-part"
	fmt.Fprintf(&w, "Content-Type: multipart/mixed; boundary=%s\r\n\r\n--%s\r\n%s%s--%s\r\n"+
		"Content-Type: audio/wav\r\nContent-Disposition: attachment; filename=\"message.wav\"\r\nContent-Transfer-Encoding: base64\r\n\r\n%s--%s--\r\n",
		mark, mark, plain, text, mark, base64Lines(sound), mark)
	return []byte(w.String())
}

// base64Lines writes base64 in lines of 76 characters.
func base64Lines(data []byte) string {
	text := base64.StdEncoding.EncodeToString(data)
	var w strings.Builder
	for len(text) > 76 {
		w.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	return w.String() + text + "\r\n"
}

// send hands a letter to the relay.
func (m Mail) send(ctx context.Context, to string, letter []byte) error {
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return fmt.Errorf("mail relay: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return fmt.Errorf("mail relay: %w", err)
	}
	host, _, _ := net.SplitHostPort(m.Server)
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return fmt.Errorf("mail relay: %w", err)
	}
	steps := []func() error{
		func() error { return c.Mail(m.From) },
		func() error { return c.Rcpt(to) },
		func() error {
			w, err := c.Data()
			if err != nil {
				return err
			}
			if _, err := w.Write(letter); err != nil {
				return err
			}
			return w.Close()
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("mail relay: %w", err)
		}
	}
	_ = c.Quit() // the letter is taken, whatever the relay says to this
	return nil
}
