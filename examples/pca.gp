# The plane of the first two principal components of a model's items.
#
#	gnuplot -e "points='points.tsv'; labels='labels.gp'; picture='pca.png'" pca.gp
#
# points.tsv: title, x, y, number of ratings (tab separated), for example from
#
#	SELECT title, components[1], components[2], n_ratings
#	  FROM collab.pca_project('movielens') JOIN movies USING (item_id)
#	 ORDER BY n_ratings DESC
#
# labels.gp: made of it by pca-labels.awk.
set terminal pngcairo size 1400,1000 font "DejaVu Sans,11" background rgb "white"
set output picture
set datafile separator "\t"
set lmargin at screen 0.06
set rmargin at screen 0.985
set bmargin at screen 0.07
set tmargin at screen 0.94
set title (exists("heading") ? heading : "Films in the plane of the principal components") noenhanced font "DejaVu Sans,14"
set xlabel "first component"
set ylabel "second component"
set border 3 linecolor rgb "#888888"
set tics nomirror textcolor rgb "#666666"
set grid linecolor rgb "#eeeeee"
unset key
load labels
plot points using 2:3:(0.25 + 0.035 * sqrt($4)) with points pointtype 7 pointsize variable linecolor rgb "#607fa3c7"
