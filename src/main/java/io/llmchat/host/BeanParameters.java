package io.llmchat.host;

import org.apache.camel.Exchange;
import org.apache.camel.Expression;
import org.apache.camel.component.bean.DefaultParameterMappingStrategy;
import org.apache.camel.component.bean.ParameterMappingStrategy;

/**
 * What expressions such as {@code ${exchangeProperty.chat.said}} give to the parameters of methods, as Camel does it, but
 * for exchanges. Camel keeps what it knows of a class, and where a method takes an exchange, of each single object: the
 * class would be looked through anew for each request, and the last thousand requests be kept, by every version of the
 * routes. A method that takes an exchange gets it all the same, as its first parameter.
 */
public final class BeanParameters implements ParameterMappingStrategy {

    @Override
    public Expression getDefaultParameterTypeExpression(Class<?> type) {
        return type == Exchange.class ? null : DefaultParameterMappingStrategy.INSTANCE.getDefaultParameterTypeExpression(type);
    }
}
