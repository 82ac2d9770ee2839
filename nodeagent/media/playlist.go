package media

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sipio/sipio/brain/api"
)

// Bounds of playlists.
const (
	maxFiles     = 200
	maxPlaylists = 1000
	playlistAge  = 7 * 24 * time.Hour // one that nobody asked for since then may go
)

// Playlist lays some objects into a folder of their own, in their order, and returns it: what FreeSWITCH's
// local_stream plays. The same content is the same folder. The files are the cache's own by another name, so
// that the folder stays whole when the cache makes room. Ask again at least daily for one that is in use.
func (c *Cache) Playlist(ctx context.Context, refs []api.MediaRef) (string, error) {
	if len(refs) == 0 || len(refs) > maxFiles {
		return "", fmt.Errorf("a playlist has 1 to %d files, not %d", maxFiles, len(refs))
	}
	hash := sha256.New()
	paths := make([]string, len(refs))
	for i, ref := range refs {
		path, err := c.Fetch(ctx, ref)
		if err != nil {
			return "", err
		}
		paths[i] = path
		fmt.Fprintln(hash, path[strings.LastIndex(path, "/")+1:])
	}
	dir := c.path(playlistFolder, hex.EncodeToString(hash.Sum(nil)[:16]))
	now := c.cfg.Now()
	if os.Chtimes(dir, now, now) == nil {
		return dir, nil
	}
	if err := c.prunePlaylists(now); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(c.path(newFolder), "*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp) // gone already when all went well
	for i, path := range paths {
		if err := os.Link(path, fmt.Sprintf("%s/%04d.wav", temp, i+1)); err != nil {
			return "", err
		}
	}
	err = errors.Join(os.Chmod(temp, 0o755), os.Rename(temp, dir))
	if err != nil && os.Chtimes(dir, now, now) == nil {
		err = nil // another made it meanwhile
	}
	return dir, err
}

// prunePlaylists makes room for one more.
func (c *Cache) prunePlaylists(now time.Time) error {
	entries, err := os.ReadDir(c.path(playlistFolder))
	if err != nil || len(entries) < maxPlaylists {
		return err
	}
	left := len(entries)
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && now.Sub(info.ModTime()) > playlistAge {
			err = os.RemoveAll(c.path(playlistFolder, e.Name()))
			left--
		}
		if err != nil {
			return err
		}
	}
	if left >= maxPlaylists {
		return fmt.Errorf("there are %d playlists in use already", left)
	}
	return nil
}

// MusicXML is the entry of local_stream.conf.xml that plays a folder as the stream of a name, always running: who
// listens comes in wherever it is.
func MusicXML(name, dir string) []byte {
	var b bytes.Buffer
	b.WriteString(`<directory name="`)
	_ = xml.EscapeText(&b, []byte(name)) // a buffer takes all
	b.WriteString(`" path="`)
	_ = xml.EscapeText(&b, []byte(dir))
	b.WriteString(`">` + "\n")
	for _, p := range [][2]string{{"rate", "8000"}, {"channels", "1"}, {"interval", "20"}, {"shuffle", "false"}, {"timer-name", "soft"}} {
		fmt.Fprintf(&b, `  <param name=%q value=%q/>`+"\n", p[0], p[1])
	}
	b.WriteString("</directory>\n")
	return b.Bytes()
}

// FileString names files for one playback without a gap between them (FreeSWITCH's mod_dptools), each caller from
// the start.
func FileString(paths []string) string {
	if len(paths) == 1 {
		return paths[0]
	}
	return "file_string://" + strings.Join(paths, "!")
}
