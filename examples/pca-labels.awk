# Chooses which films of a scatter plot get a label, and where.
#
# In: title, x, y, number of ratings; tab separated, most rated first.
# Out: gnuplot commands, ranges first.  A label that would cover another one
# or another labelled film's point is tried on four sides, then left out.
#
# The picture is WIDTH x HEIGHT pixels, the plot lies within LEFT, RIGHT,
# BOTTOM, TOP (shares of it); CHAR and LINE are a letter's width and a line's
# height in pixels, LABELS how many there may be.

BEGIN {
	FS = "\t"
	if (!LABELS) LABELS = 60
}

{
	# "Silence of the Lambs, The (1991)" reads "The Silence of the Lambs"
	t = $1
	sub(/ \([0-9][0-9][0-9][0-9]\)$/, "", t)
	sub(/ \([^)]*\)$/, "", t)
	if (match(t, /, (The|A|An|Les|La|Le|Il|El|Das|Der|Die)$/))
		t = substr(t, RSTART + 2) " " substr(t, 1, RSTART - 1)
	if (length(t) > 28)
		sub(/: .*/, "", t)
	n++
	title[n] = t
	x[n] = $2
	y[n] = $3
	if (n == 1 || x[n] < x0) x0 = x[n]
	if (n == 1 || x[n] > x1) x1 = x[n]
	if (n == 1 || y[n] < y0) y0 = y[n]
	if (n == 1 || y[n] > y1) y1 = y[n]
}

# Would a box of these pixels cover what is there?
function free(l, r, b, t,		i) {
	if (l < LEFT * WIDTH || r > RIGHT * WIDTH || b < BOTTOM * HEIGHT || t > TOP * HEIGHT)
		return 0
	for (i = 1; i <= boxes; i++)
		if (l < R[i] && r > L[i] && b < T[i] && t > B[i])
			return 0
	return 1
}

function take(l, r, b, t) {
	boxes++
	L[boxes] = l; R[boxes] = r; B[boxes] = b; T[boxes] = t
}

END {
	mx = (x1 - x0) * 0.04
	my = (y1 - y0) * 0.04
	x0 -= mx; x1 += mx; y0 -= my; y1 += my
	printf "set xrange [%g:%g]\nset yrange [%g:%g]\n", x0, x1, y0, y1
	for (i = 1; i <= n && labels < LABELS; i++) {
		px = WIDTH * (LEFT + (RIGHT - LEFT) * (x[i] - x0) / (x1 - x0))
		py = HEIGHT * (BOTTOM + (TOP - BOTTOM) * (y[i] - y0) / (y1 - y0))
		if (!free(px - 3, px + 3, py - 3, py + 3))
			continue
		w = CHAR * length(title[i])
		h = LINE / 2
		if (free(px + 5, px + 10 + w, py - h, py + h)) {
			side = "left offset 0.7, 0"
			take(px - 4, px + 10 + w, py - h, py + h)
		} else if (free(px - 12 - w, px - 5, py - h, py + h)) {
			side = "right offset -0.9, 0"
			take(px - 12 - w, px + 4, py - h, py + h)
		} else if (free(px - w / 2, px + w / 2, py + 4, py + 4 + LINE)) {
			side = "center offset 0, 0.7"
			take(px - w / 2, px + w / 2, py - 4, py + 4 + LINE)
		} else if (free(px - w / 2, px + w / 2, py - 4 - LINE, py - 4)) {
			side = "center offset 0, -0.7"
			take(px - w / 2, px + w / 2, py - 4 - LINE, py + 4)
		} else
			continue
		labels++
		t = title[i]
		gsub(/["\\]/, "\\\\&", t)
		printf "set label \"%s\" at %g, %g %s noenhanced point pointtype 7 pointsize 0.8 linecolor rgb \"#c0392b\" front\n", t, x[i], y[i], side
	}
}
