package balance

import (
	"errors"
	"fmt"

	"github.com/sipio/sipio/brain/pack"
)

const imageVersion = 1

var errImage = errors.New("not the image of a chain of wallets")

// AppendImage writes all of a chain. Equal chains write the same bytes.
func (c *Chain) AppendImage(b []byte) []byte {
	b = append(b, imageVersion)
	for _, s := range [...]string{c.Token, c.CallID, c.To} {
		b = pack.AppendText(b, s)
	}
	for _, v := range [...]int64{c.AskedMS, c.Sec, c.MostSec, c.talkMS, c.want} {
		b = pack.AppendInt(b, v)
	}
	b = pack.AppendUint(pack.AppendUint(pack.AppendUint(b, uint64(c.phase)), uint64(c.at)), uint64(c.touched))
	b = pack.AppendText(pack.AppendBool(pack.AppendBool(b, c.answered), c.final), c.why)
	b = pack.AppendUint(b, uint64(len(c.Levels)))
	for i, l := range c.Levels {
		b = l.append(b)
		b = pack.AppendBool(pack.AppendBool(pack.AppendInt(b, c.held[i]), c.gone[i]), c.unpaid[i])
	}
	return b
}

// RestoreChain makes a chain from its image. What no chain wrote is refused.
func RestoreChain(image []byte) (*Chain, error) {
	r := pack.NewReader(image)
	if version := r.Uint(); version != imageVersion {
		return nil, fmt.Errorf("version %d, not %d: %w", version, imageVersion, errImage)
	}
	p := Pay{Token: r.Text(), CallID: r.Text(), To: r.Text(), AskedMS: r.Int(), Sec: r.Int(), MostSec: r.Int()}
	talk, want := r.Int(), r.Int()
	at := phase(min(r.Uint(), 255))
	turn, touched := r.Uint(), r.Uint()
	answered, final, why := r.Bool(), r.Bool(), r.Text()
	var held []int64
	var gone, unpaid []bool
	for range r.Count(MaxLevels) {
		p.Levels = append(p.Levels, readLevel(r))
		held, gone, unpaid = append(held, r.Int()), append(gone, r.Bool()), append(unpaid, r.Bool())
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("read the image of a chain of wallets: %w", err)
	}
	c, err := NewChain(p)
	if err != nil {
		return nil, fmt.Errorf("read the image of a chain of wallets: %w", err)
	}
	n := uint64(len(p.Levels))
	c.phase, c.at, c.touched, c.answered, c.talkMS, c.want, c.why, c.final = at, int(min(turn, n)), int(min(touched, n)), answered, talk, want, why, final
	c.held, c.gone, c.unpaid = held, gone, unpaid
	turns := (at == reserving || at == extending) && turn < n || at == granted && turn <= n || at == ending && turn <= n
	if !turns || touched > n || at == ending && touched == 0 || talk < 0 || talk > MaxTalkMS || want < 0 || want > p.MostSec || !texts(maxText, why) {
		return nil, fmt.Errorf("phase %d, level %d: %w", at, turn, errImage)
	}
	for _, sec := range held {
		if sec < 0 || sec > p.MostSec {
			return nil, fmt.Errorf("%d seconds are held: %w", sec, errImage)
		}
	}
	return c, nil
}
