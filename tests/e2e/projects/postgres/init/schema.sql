CREATE TABLE words (id integer PRIMARY KEY, word text);

INSERT INTO words VALUES (1, 'first'), (2, 'second');

